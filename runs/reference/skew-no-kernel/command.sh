# five minutes a seed and share on two cores; as the program was before `value.kernels` and `proposals`
python benchmarks/skew.py --skews 0.005 0.1 --planners static random_shooting guided_diffusion tilted_resampling twisted_smc \
    adaptation_off online_adaptation --json runs/reference/skew-no-kernel/summary.json
