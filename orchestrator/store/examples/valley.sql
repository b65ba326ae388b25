-- The best η for test loss and how deep the valley around it is, over the seeds of every problem.
SELECT dataset, n_train, architecture, width, depth, activation, loss, parameterization,
       init_scale, epsilon, n_used AS seeds, eta_best_over_eta_c, test_loss_best,
       u_depth,   -- how far below the ends of the rates, relative to them
       u_spread,  -- the scatter of that over seeds
       u_shaped, undecided
FROM valleys
ORDER BY u_depth DESC;
