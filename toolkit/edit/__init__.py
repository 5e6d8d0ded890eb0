"""Step 3 of V-LASIK (arXiv 2406.14510, section 4.3): editing a video. So far the region around a face, and back."""
