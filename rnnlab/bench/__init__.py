"""Measurements that cannot flatter: compile apart from run, in turns, outputs consumed."""
