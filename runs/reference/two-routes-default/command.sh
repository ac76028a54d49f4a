# eight to eleven minutes on two cores
python -m owma.train
