# 11 minutes to collect (extra `hopper`), nearly all of it the search for policies; then 20 to 47 a seed
python -m owma.collect hopper
for seed in 1 2 3; do
    python -m owma.train hopper --world.no-count-terminal --name hopper-seed$seed --seed $seed --evaluation.episodes 0
    python -m owma.transfer runs/hopper-seed$seed --name four --seed $seed \
        --task hopper-forward hopper-backward hopper-stand hopper-jump --fits linear --episodes 8 --planners \
        static random_shooting guided_diffusion_single tilted_resampling fk_steering twisted_smc_256 svdd \
        noise_optimization cem online_adaptation adaptation_draw adaptation_all_levels adaptation_adam \
        adaptation_off published  # of seeds 2 and 3 --episodes 4
done
