# four minutes a seed on one core
for seed in 1 2 3; do
    python -m owma.transfer runs/ogbench-cube-seed$seed --name five --seed $seed \
        --ogbench-tasks --fits linear --episodes 8 --timed-decisions 0 --kl-coef 0.5 \
        --planners random_shooting online_adaptation adaptation_off
done
python benchmarks/transfer_table.py runs/reference/ogbench-cube-five/seed*  # prints table.md
