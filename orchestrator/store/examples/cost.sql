-- What every column cost: its time, its slowest trial, gradients and Hessian products, the dearest first.
WITH each AS (
    SELECT trial_id, column_id, any_value(kind) AS kind, any_value(eta_over_eta_c) AS at,
           max(wall_s) AS wall_s, max(steps) AS steps, max(gradients) AS gradients,
           max(hvps) AS hvps
    FROM trials GROUP BY trial_id, column_id
)
SELECT label, count(*) AS trials, sum(wall_s) / 3600 AS hours, max(wall_s) AS slowest_s,
       arg_max(trial_id, wall_s) AS slowest, arg_max(kind, wall_s) AS slowest_kind,
       sum(steps) AS steps, sum(gradients) AS gradients, sum(hvps) AS hvps
FROM each JOIN columns USING (column_id)
GROUP BY column_id, label
ORDER BY hours DESC;
