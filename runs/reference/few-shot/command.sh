for seed in 1 2 3; do
    python -m owma.train two-routes --name two-routes-identity-seed$seed --seed $seed --world.features.kind identity
    python -m owma.transfer runs/two-routes-identity-seed$seed --name nonlinear \
        --task owma.envs:preferred_route_reward --labels 64 10000 --draws 3 --planners random_shooting online_adaptation
done
