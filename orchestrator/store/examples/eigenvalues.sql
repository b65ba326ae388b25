-- How exact S and λ_min are: converged or not, and the residual relative to each, per kind and threshold.
SELECT kind, epsilon, count(*) AS n,
       count(*) FILTER (WHERE sharpness_converged) AS converged,
       count(*) FILTER (WHERE sharpness IS NULL) AS not_measured,
       median(sharpness_residual) AS residual_median,
       max(sharpness_residual) AS residual_largest,
       count(*) FILTER (WHERE lambda_min_converged) AS lambda_min_converged,
       median(lambda_min_residual) AS lambda_min_residual_median,
       count(*) FILTER (WHERE lambda_min < 0 AND -lambda_min > lambda_max) AS negative_end_larger
FROM trials
GROUP BY kind, epsilon
ORDER BY kind, epsilon;
