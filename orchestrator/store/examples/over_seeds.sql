-- The mean over seeds of S·η/2, ‖θ‖₁ and test loss at every multiple of η_c that was asked for, and its scatter.
SELECT dataset, n_train, architecture, width, depth, activation, loss, parameterization,
       init_scale, epsilon, eta_multiple, count(*) AS seeds,
       avg(sharpness * eta / 2) AS edge, stddev_samp(sharpness * eta / 2) AS edge_scatter,
       avg(l1_norm) AS l1_norm, stddev_samp(l1_norm) AS l1_scatter,
       avg(test_loss) AS test_loss, stddev_samp(test_loss) AS test_loss_scatter
FROM trials
WHERE kind = 'gd' AND eta_unit = 'eta_c'
  AND (trial_id, epsilon) NOT IN (SELECT (trial_id, epsilon) FROM excluded)
GROUP BY ALL  -- not by eta_over_eta_c: it is rounded in each column by itself
ORDER BY ALL;
