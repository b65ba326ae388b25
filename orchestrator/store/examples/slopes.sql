-- The power of each field with which s_gf grows: the slope of log s_gf on log value in every group.
SELECT field, parameterization, group_id, epsilon, count(*) AS n_values,
       max(s_gf) / min(s_gf) AS s_gf_ratio,
       regr_slope(ln(s_gf), ln(value_number)) AS s_gf_slope
FROM dependence
WHERE field IN ('n_train', 'width', 'depth', 'init_scale') AND s_gf > 0 AND value_number > 0
GROUP BY field, parameterization, group_id, epsilon
HAVING count(*) >= 3
ORDER BY field, group_id, epsilon;
