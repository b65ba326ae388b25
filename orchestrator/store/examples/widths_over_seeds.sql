-- The mean s_gf of every width over seeds, and how far the seeds scatter around it, per parameterization.
SELECT parameterization, epsilon, n_train, depth, activation, loss, init_scale, width,
       count(*) AS seeds,
       exp(avg(ln(2 / eta_c))) AS s_gf,
       exp(stddev_samp(ln(2 / eta_c))) AS scatter_factor
FROM phase JOIN columns USING (column_id)
WHERE eta_c > 0 AND width IS NOT NULL
GROUP BY ALL
ORDER BY ALL;
