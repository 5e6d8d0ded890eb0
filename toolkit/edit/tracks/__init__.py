"""Where the faces are: sightings in single frames, tracks over consecutive frames, and crops along a track."""
