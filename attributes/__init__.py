"""Code that finds attributes on faces or draws them."""
