"""Group the points of a scene by tags: a starting point made by `tagwise new`.

    python -m my_task.train
    python -m pytest my_task

Five places belong to your problem. Each says at its top what to change:

1. `data.py`: the scenes, with the features and the group of each point.
2. `network.py`: the network that gives each point a tag.
3. `tags.py`, `tag_loss`: the loss that makes tags similar within a group.
4. `tags.py`, `find_groups`: the grouping of points by their tags.
5. `metric.py` and `plot.py`: how good the groups are, and how they look.
"""
