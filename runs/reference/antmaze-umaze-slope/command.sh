# some 20 minutes a seed on one core
for seed in 1 2 3; do
    python -m owma.transfer runs/antmaze-umaze-seed$seed --name slope --seed $seed \
        --task goal:-4,-4@0.45,3 --fits linear --episodes 16 --timed-decisions 0 --planners \
        static random_shooting guided_diffusion_single tilted_resampling fk_steering twisted_smc_256 svdd \
        noise_optimization cem online_adaptation adaptation_draw adaptation_all_levels adaptation_adam \
        adaptation_off published
done
python benchmarks/transfer_table.py runs/reference/antmaze-umaze-slope/seed*  # prints table.md
