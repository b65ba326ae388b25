-- What the sweep says to each statement that any sweep can be asked.
SELECT statement, verdict, n_holds, n_decided, share_low, share_high, n_undecided, numbers
FROM findings;
