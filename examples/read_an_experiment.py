"""Results of `mpsheads reproduce` in Python: a table for each experiment, encoder and measure."""

from mpsheads.experiments import make_report, read_results

report = make_report(read_results("reproduction/results.jsonl"), baseline="dense")
for table in report.tables:
    for row in table.rows:
        print(row.label, row.trained, row.size, row.bits, row.mean)
