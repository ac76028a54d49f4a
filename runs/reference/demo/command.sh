# three minutes
python benchmarks/demo_model.py runs/two-routes
