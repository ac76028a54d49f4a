# about eight minutes a seed and share on two cores
python benchmarks/skew.py --skews 0.005 --planners static random_shooting guided_diffusion tilted_resampling twisted_smc \
    adaptation_off adaptation_no_proposals online_adaptation --json runs/reference/skew/summary.json
