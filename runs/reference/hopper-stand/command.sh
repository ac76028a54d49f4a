# five to ten minutes a seed on one core
for seed in 1 2 3; do
    python -m owma.transfer runs/hopper-seed$seed --name stand --seed $seed \
        --task hopper-stand --kl-coef 1 --fits linear --episodes 8 --timed-decisions 0 \
        --planners random_shooting tilted_resampling fk_steering twisted_smc_256 svdd noise_optimization cem \
        online_adaptation adaptation_off published
done
python benchmarks/transfer_table.py runs/reference/hopper-stand/seed*  # prints table.md
