-- The phase transition of one column: final sharpness, S·η/2 and the ℓ1 norm against η/η_c.
SELECT eta_over_eta_c, status, steps, sharpness, 2 / eta AS edge, sharpness * eta / 2 AS ratio,
       l1_norm, test_loss
FROM trials
WHERE kind = 'gd'
  AND column_id = (SELECT min(column_id) FROM trials)  -- or = 'the column_id of another'
  AND epsilon = (SELECT min(epsilon) FROM trials)
ORDER BY eta;
