"""Click-through prediction: who clicked what, described by fields."""
