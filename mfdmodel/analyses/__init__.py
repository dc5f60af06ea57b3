"""What is asked of a trained model; none of the analyses knows another."""
