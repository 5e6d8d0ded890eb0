"""Clips of people who do not exist: morphs of portraits, posed and lit like faces in videos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from toolkit.errors import InputError
from toolkit.faces.topology import load_topology
from toolkit.portraits import morph, scenery
from toolkit.portraits.camera import Camera
from toolkit.portraits.driving import FPS, Movement, fitting
from toolkit.portraits.painting import painted
from toolkit.portraits.photos import photographed
from toolkit.portraits.portrait import SIDE, Portrait
from toolkit.portraits.relief import Pose, Relief, View, normals
from toolkit.task import FaceClip


class SyntheticPeople:
    """Makes clips of synthetic people; equal states of the random generator give equal clips.

    Args:
        portraits: from `load_portraits`; one is enough, more give more varied people.
        movements: from `load_movements`, copied by the people; if empty, heads turn smoothly.
        photos: share of clips that show a portrait as it is, instead of a person made of several.
        coverings: share of the others in which something hides a part of the face.

    Raises:
        InputError: there are no portraits.
    """

    def __init__(
        self,
        portraits: Sequence[Portrait],
        movements: Sequence[Movement] = (),
        photos: float = 0.0,
        coverings: float = 0.12,
    ):
        self._movements, self._photos, self._coverings = list(movements), photos, coverings
        if not portraits:
            raise InputError("synthetic people need at least one portrait, found none")
        self._portraits = list(portraits)

    def clip(self, rng: np.random.Generator, frames: int = 1, size: int = 256, crop_scale: float = 1.6) -> FaceClip:
        """One person in motion, degraded by a camera; the arguments are those of `scene`."""
        clip, camera = self.scene(rng, frames, size, crop_scale)
        return replace(clip, frames=camera(clip.frames))

    def scene(
        self, rng: np.random.Generator, frames: int = 1, size: int = 256, crop_scale: float = 1.6
    ) -> tuple[FaceClip, Camera]:
        """One person in motion, and the camera that degrades the clip, so that glasses can be drawn in between.

        Args:
            rng: draws everything.
            frames: number of frames, at 25 frames per second.
            size: width of the crop in pixels.
            crop_scale: width of the crop divided by the width of the face.

        Returns:
            A clip as in datasets, with mediapipe's landmarks, and the camera.
        """
        from toolkit.video import crop, square_region

        if self._photos and rng.random() < self._photos:
            return self._photographed(rng, frames, size, crop_scale)
        person = painted(rng, self._person(rng))
        relief = Relief(person)
        factor = scenery.light(rng, normals(person.depth)) if rng.random() < 0.85 else np.ones((1, 1, 3), np.float32)
        lit = 255 * np.clip((person.image / np.float32(255)) ** 2.2 * factor, 0, 1) ** np.float32(1 / 2.2)
        lit = _tinted(rng, lit.astype(np.float32))
        behind = scenery.background(rng, SIDE)
        covered, seed = rng.random() < self._coverings, int(rng.integers(2**31))
        pictures, landmarks = [], []
        for pose, change in self._motion(rng, frames, person):
            view = relief.view(pose, change)
            if change is not None:
                view = _expressed(view, person.landmarks, change)
            picture = _composed(view, lit, person.matte, behind)
            if covered:
                picture = scenery.covering(np.random.default_rng(seed), picture, view.landmarks)
            pictures.append(np.clip(np.rint(picture), 0, 255).astype(np.uint8))
            landmarks.append(view.landmarks)
        landmarks = np.stack(landmarks)
        boxes = np.concatenate([landmarks[..., :2].min(axis=1), landmarks[..., :2].max(axis=1)], axis=1)
        region = square_region(boxes, (SIDE, SIDE), crop_scale)
        scale = np.float32(size / (region[2] - region[0]))
        clip = FaceClip(
            frames=np.stack([crop(picture, region, size) for picture in pictures]),
            landmarks=(landmarks - np.array([region[0], region[1], 0], np.float32)) * scale,
            topology=load_topology("mediapipe478"),
            times=np.arange(frames) / FPS,
            box=np.asarray(region, np.float32),
            source="made",
            source_digest="made",
        )
        return clip, Camera(rng, size)

    def _photographed(
        self, rng: np.random.Generator, frames: int, size: int, crop_scale: float
    ) -> tuple[FaceClip, Camera]:
        clip = photographed(rng, self._portraits[rng.integers(len(self._portraits))], frames, size, crop_scale)
        tinted = _tinted(rng, clip.frames.astype(np.float32))
        return replace(clip, frames=np.rint(tinted).astype(np.uint8)), Camera(rng, size)

    def _motion(
        self, rng: np.random.Generator, frames: int, person: Portrait
    ) -> Iterator[tuple[Pose, np.ndarray | None]]:
        """Poses, and changes of the landmarks in pixels; None if no movement is long enough."""
        long = [movement for movement in self._movements if len(movement) >= frames]
        if not long:
            yield from ((pose, None) for pose in _turning(rng, frames))
            return
        movement = long[rng.integers(len(long))]
        start = int(rng.integers(len(movement) - frames + 1))
        width = float(np.ptp(person.landmarks[:468, 0]))
        size, strength = float(rng.uniform(0.9, 1.05)), float(rng.uniform(0.8, 1.2))
        for k, pose in enumerate(movement.poses(start, frames, width / SIDE)):
            change = movement.changes[start + k] * np.float32(width * strength)
            yield replace(pose, scale=pose.scale * size), fitting(person.landmarks, change)

    def _person(self, rng: np.random.Generator) -> Portrait:
        count = min(int(rng.choice([1, 2, 2, 3])), len(self._portraits))
        chosen = [self._portraits[k] for k in rng.choice(len(self._portraits), count, replace=False)]
        # The first portrait gives hair and outline. Shape and texture have weights of their own.
        shape, texture = rng.dirichlet(np.full(count, 1.5)), rng.dirichlet(np.full(count, 1.0))
        base = np.tensordot(shape, np.stack([p.landmarks for p in chosen]), axes=1)
        change = morph.expression(base.astype(np.float32), rng)
        # Heads may be broader or longer than in any portrait.
        stretch = 1 + rng.normal(0, 0.04, 2)
        change[:, :2] += (base[:, :2] - SIDE / 2) * (stretch - 1)
        person = morph.mixed(chosen, shape, texture, change.astype(np.float32))
        return _mirrored(person) if rng.random() < 0.5 else person


def _turning(rng: np.random.Generator, frames: int) -> list[Pose]:
    """A smooth path of poses, mostly towards the camera and sometimes far aside."""
    far = rng.random() < 0.25
    limits = np.radians([45 if far else 25, 20, 18])
    start = np.clip(rng.normal(0, 1, 3) * np.radians([28 if far else 12, 8, 7]), -limits, limits)
    sway = rng.normal(0, 1, 3) * np.radians([9, 4, 3])
    shift, drift = rng.normal(0, 0.015, 2), rng.normal(0, 0.01, 2)
    scale = float(rng.uniform(0.9, 1.05))
    phase, speed = rng.uniform(0, 2 * np.pi, 3), rng.uniform(0.5, 1.5)
    poses = []
    for t in range(frames):
        angles = np.clip(start + sway * np.sin(speed * t * 2 * np.pi / 50 + phase), -limits, limits)
        move = shift + drift * np.sin(speed * t * 2 * np.pi / 60 + phase[:2])
        poses.append(Pose.of(angles, move, scale))
    return poses


def _expressed(view: View, landmarks: np.ndarray, change: np.ndarray) -> View:
    """Warp a view so that its face follows the changed landmarks."""
    import cv2

    x, y = morph.bend(landmarks + change, landmarks, stiff=False)
    at = (view.x, view.y, cv2.INTER_LINEAR)
    x, y = (cv2.remap(field, *at, borderMode=cv2.BORDER_REPLICATE) for field in (x, y))
    return replace(view, x=x, y=y)


def _composed(view, lit: np.ndarray, matte: np.ndarray, behind: np.ndarray) -> np.ndarray:
    import cv2

    stack = np.dstack([lit, matte])
    drawn = cv2.remap(stack, view.x, view.y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    # The outer half of the matte shows the background of the portrait.
    opacity = (np.clip((drawn[..., 3] - 0.4) / 0.5, 0, 1) * view.seen)[..., None]
    return behind + opacity * (drawn[..., :3] - behind)


def _tinted(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Shift the tone of skin and hair: darker or lighter, redder or yellower."""
    tone = np.exp(rng.normal(-0.05, 0.22) + rng.normal(0, 0.05, 3) * np.array([0.6, 1.0, 1.2]))
    return np.clip(picture * tone.astype(np.float32), 0, 255)


def _mirrored(person: Portrait) -> Portrait:
    topology = load_topology("mediapipe478")
    landmarks = person.landmarks * np.array([-1, 1, 1], np.float32) + np.array([SIDE, 0, 0], np.float32)
    return Portrait(
        person.name,
        np.ascontiguousarray(person.image[:, ::-1]),
        np.ascontiguousarray(person.matte[:, ::-1]),
        landmarks[_mirror_order(topology)],
        np.ascontiguousarray(person.depth[:, ::-1]),
    )


def _mirror_order(topology) -> np.ndarray:
    """For each landmark, its mirror image."""
    from scipy.spatial import cKDTree

    mean = topology.mean
    return cKDTree(mean * [-1, 1, 1]).query(mean)[1]
