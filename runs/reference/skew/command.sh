# some ten minutes a seed and share beside much other work, five alone
for skew in 0.005 0.1; do
    python benchmarks/skew.py --skews $skew --planners static random_shooting guided_diffusion tilted_resampling twisted_smc \
        adaptation_off online_adaptation --json runs/reference/skew/summary.json
done
