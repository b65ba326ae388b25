-- What the sweep says to each statement that any sweep can be asked.
SELECT statement, verdict, n_holds, n_decided, n_undecided, numbers
FROM findings;
