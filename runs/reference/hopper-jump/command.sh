# five to ten minutes a seed on one core
for seed in 1 2 3; do
    python -m owma.transfer runs/hopper-seed$seed --name jump --seed $seed \
        --task hopper-jump --fits linear --episodes 8 --timed-decisions 0 \
        --planners random_shooting tilted_resampling fk_steering twisted_smc_256 svdd noise_optimization cem \
        online_adaptation adaptation_off published
done
python benchmarks/transfer_table.py runs/reference/hopper-jump/seed*  # prints table.md
