-- Whether s_gf depends on the width under each parameterization: the largest over the smallest of each group.
SELECT parameterization, epsilon, group_id, count(*) AS widths,
       min(value_number) AS narrowest, max(value_number) AS widest,
       max(s_gf) / min(s_gf) AS s_gf_ratio,
       max(eta_c_fitted) / min(eta_c_fitted) AS eta_c_fitted_ratio
FROM dependence
WHERE field = 'width' AND s_gf IS NOT NULL
GROUP BY parameterization, epsilon, group_id
HAVING count(*) >= 2
ORDER BY parameterization, epsilon, group_id;
