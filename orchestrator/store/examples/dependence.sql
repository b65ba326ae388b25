-- How η_c depends on the samples, the depth, ε and the scale of the initialisation, each with all else equal.
SELECT field, value_number AS value, epsilon, count(*) AS columns,
       median(eta_c) AS eta_c, median(eta_c_fitted) AS eta_c_fitted,
       min(eta_c) AS eta_c_least, max(eta_c) AS eta_c_largest
FROM dependence
WHERE field IN ('n_train', 'depth', 'epsilon', 'init_scale')  -- or activation, loss, … and value_text
GROUP BY field, value_number, epsilon
ORDER BY field, epsilon, value_number;
