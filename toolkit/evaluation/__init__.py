"""How right a predictor is: metrics, calibration, measuring, report and plots."""
