"""Next videos: who watched what when, and what they watch next."""
