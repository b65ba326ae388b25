-- How exact the sharpness is: converged or not, and the residual relative to S, per kind and threshold.
SELECT kind, epsilon, count(*) AS n,
       count(*) FILTER (WHERE sharpness_converged) AS converged,
       count(*) FILTER (WHERE sharpness IS NULL) AS not_measured,
       median(sharpness_residual / sharpness) AS residual_median,
       max(sharpness_residual / sharpness) AS residual_largest,
       count(*) FILTER (WHERE lambda_min < 0 AND -lambda_min > lambda_max) AS negative_end_larger
FROM trials
GROUP BY kind, epsilon
ORDER BY kind, epsilon;
