-- Predicted against fitted η_c over all columns and thresholds: the line of their logarithms, and the ratio.
SELECT count(*) AS n,
       regr_slope(ln(eta_c_fitted), ln(eta_c)) AS slope,
       regr_intercept(ln(eta_c_fitted), ln(eta_c)) AS intercept,
       regr_r2(ln(eta_c_fitted), ln(eta_c)) AS r2,
       median(eta_c_fitted / eta_c) AS ratio_median,
       min(eta_c_fitted / eta_c) AS ratio_least,
       max(eta_c_fitted / eta_c) AS ratio_largest
FROM phase JOIN columns USING (column_id)
WHERE eta_c > 0 AND eta_c_fitted > 0
  -- AND loss = 'mse' AND parameterization = 'mup'
;
