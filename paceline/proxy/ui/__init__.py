"""The dashboard at `/paceline/ui`: what waits and why, for people who run engines."""
