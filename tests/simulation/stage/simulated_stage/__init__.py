"""Stages that keep the contract and compute nothing: each media file is a text that says what becomes of it.

A line that begins with a stage's name tells that stage what to do, on both variants or on the one it names. The
other lines are the film. Without any instruction a stage succeeds at once.

    A tape of the harbour
    vision.analyze cuda: sleep 5
    vision.analyze cuda: oom
    audio.transcribe: reject corrupt
"""
