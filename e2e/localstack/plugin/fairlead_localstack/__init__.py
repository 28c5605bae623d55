"""Elastic Load Balancing v2 for LocalStack. What is done here, and why, is in the README beside the package."""
