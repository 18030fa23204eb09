"""Writes the beginnings of packages that extend paceline."""
