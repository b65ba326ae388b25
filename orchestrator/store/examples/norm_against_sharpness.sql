-- The trade-off between norm and sharpness: ℓ1 and S of every final solution, relative to the flow's.
SELECT label, epsilon, trials.eta_over_eta_c,
       sharpness / flow_sharpness AS s_over_flow,
       l1_norm / l1_flow AS l1_over_flow,
       test_loss
FROM trials
JOIN phase USING (column_id, epsilon)
JOIN columns USING (column_id)
WHERE kind = 'gd'
  AND (trial_id, epsilon) NOT IN (SELECT (trial_id, epsilon) FROM excluded)
ORDER BY label, epsilon, trials.eta_over_eta_c;
