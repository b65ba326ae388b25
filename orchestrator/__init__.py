"""Everything around a trial: sweep files, plans, execution, tables, analysis, figures."""
