-- What the analysis left out and why, and which attempts failed.
SELECT why, epsilon, count(*) AS n, min(eta_over_eta_c) AS from_eta_over_eta_c,
       max(eta_over_eta_c) AS to_eta_over_eta_c
FROM excluded JOIN trials USING (trial_id, column_id, epsilon)
GROUP BY ALL
UNION ALL
SELECT 'flow: ' || status, epsilon, count(*), NULL, NULL
FROM trials WHERE kind = 'flow' AND status <> 'reached'
GROUP BY ALL
UNION ALL
SELECT 'attempt ' || outcome || coalesce(': ' || failure_class, ''), NULL, count(*), NULL, NULL
FROM attempts WHERE outcome <> 'settled'
GROUP BY ALL
ORDER BY n DESC;
