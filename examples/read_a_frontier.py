"""The Pareto front and the recommendation of results that `mpsheads frontier` wrote."""

from mpsheads.experiments import frontier_table, pareto_front, read_results, recommend

rows = frontier_table(read_results("frontier/results.jsonl")).rows
for row in pareto_front(rows):
    print(row.bytes, row.label, row.size, row.bits, row.mean)
print(recommend(rows, budget=64).sentence)
