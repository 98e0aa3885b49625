"""Commands about a whole deployment, whatever its models are."""
