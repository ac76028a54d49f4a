"""Loading gymnasium-robotics without the notice that it prints about environments nobody here uses."""


def load_robotics() -> None:
    """Import gymnasium-robotics, which registers its environments with Gymnasium (PointMaze, AntMaze, ...).

    Its 1.4.2 prints a notice about the Adroit hands at every import. That one notice is dropped by name; any other
    still shows.
    """
    try:
        from farama_notifications import notifications
    except ImportError:
        pass  # Then nothing is printed either.
    else:
        by_version = notifications.get("gymnasium_robotics", {})
        for version in [version for version, text in by_version.items() if "AdroitHand" in text]:
            del by_version[version]
    import gymnasium_robotics

    del gymnasium_robotics
