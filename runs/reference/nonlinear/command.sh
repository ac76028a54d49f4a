# eight minutes a seed beside other work
for seed in 1 2 3; do
    python -m owma.train pointmaze-medium --name pointmaze-medium-identity-seed$seed --seed $seed \
        --world.features.kind identity --evaluation.episodes 0
    python -m owma.transfer runs/pointmaze-medium-identity-seed$seed --name nonlinear --seed $seed \
        --task goal:-0.5,0.5@0.45 goal:0.5,-0.5@0.45 goal:0.5,-1.5@0.45 --planners random_shooting online_adaptation
done
