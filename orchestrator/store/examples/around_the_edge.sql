-- Trajectories around η_c in units of S·η/2, of one column: where the sharpness meets 2/η and stays.
SET VARIABLE one = (SELECT min(column_id) FROM trials);  -- or = 'the column_id of another'
WITH runs AS (
    SELECT trial_id, any_value(eta) AS eta, arg_min(eta_over_eta_c, epsilon) AS eta_over_eta_c
    FROM trials
    WHERE kind = 'gd' AND column_id = getvariable('one')
    GROUP BY trial_id
)
SELECT eta_over_eta_c, step, time, sharpness * eta / 2 AS ratio, train_loss, l1_norm
FROM trajectories JOIN runs USING (trial_id)
WHERE trajectories.column_id = getvariable('one')
  AND eta_over_eta_c BETWEEN 0.8 AND 1.5 AND sharpness IS NOT NULL
ORDER BY eta_over_eta_c, step;
