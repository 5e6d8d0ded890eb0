"""The result: patches are pasted into the frames, and the video is written, compared, marked and signed."""
