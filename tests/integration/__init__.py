"""The main job and its failures on a real cluster, with the real operator process."""
