"""Warp the sample clip's portrait into a pose, with one displacement field and one resampling."""

from __future__ import annotations

import numpy as np

from toolkit.testing.sample_motion import Pose
from toolkit.testing.sample_portrait import Portrait

_STEP = 2  # the field is solved on every second pixel
_LIGHT = np.array([-0.45, -0.5, 0.74], np.float32)  # towards the lamp; z towards the viewer
_RELIGHT = 0.28


class Puppet:
    """A portrait that can be drawn in any pose. Computes once what does not depend on the pose."""

    def __init__(self, portrait: Portrait):
        import cv2

        self.portrait = portrait
        size = len(portrait.image)
        grid = np.arange(0, size, _STEP, dtype=np.float32) + (_STEP - 1) / 2
        self.x, self.y = np.meshgrid(grid, grid)
        cells = (len(grid), len(grid))
        self.height, self.follows = (
            cv2.resize(field, cells, interpolation=cv2.INTER_AREA) for field in (portrait.height, portrait.follows)
        )
        down, across = np.gradient(cv2.GaussianBlur(self.height, (0, 0), 3.0 * portrait.scale / _STEP), _STEP)
        normals = np.stack([-across, -down, np.ones_like(across)], axis=-1)
        self.normals = normals / np.linalg.norm(normals, axis=-1, keepdims=True)
        # The pivot is the top of the neck.
        chin = portrait.landmarks[152, :2]
        self.pivot = chin + np.array([0, 4 * portrait.scale], np.float32)
        self.textures: dict[float, np.ndarray] = {}

    def draw(self, pose: Pose) -> np.ndarray:
        """The picture in `pose`, uint8 ``[S, S, 3]``, RGB."""
        import cv2

        portrait, size = self.portrait, len(self.portrait.image)
        x, y = self._sources(pose)
        lit = self._light(pose)
        light = cv2.remap(lit, *self._cells(x, y), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        x, y = self._expression(pose, x, y)
        # Linear, because OpenCV's cubic resize does not preserve a linear field: the rest pose must equal the portrait.
        x, y, light = (cv2.resize(field, (size, size)) for field in (x, y, light))
        edge = {"borderMode": cv2.BORDER_REPLICATE}
        head = cv2.remap(self._texture(pose.closure), x, y, cv2.INTER_CUBIC, **edge).astype(np.float32)
        alpha = cv2.remap(portrait.alpha, x, y, cv2.INTER_LINEAR, **edge)[..., None]
        behind = self._behind(pose).astype(np.float32)
        out = behind + alpha * (head * light[..., None] - behind)
        return np.clip(np.rint(out), 0, 255).astype(np.uint8)

    def displacement(self, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
        """Displacement dx, dy of the picture's points, each float32 on the grid of cells."""
        scale = self.portrait.scale
        sin_yaw, sin_pitch = np.sin(pose.yaw), np.sin(pose.pitch)
        px, py = self.x - self.pivot[0], self.y - self.pivot[1]
        # A round head keeps its outline when it turns; only the face gets narrower.
        front = np.minimum(self.height / (45 * scale), 1)
        dx = sin_yaw * self.height - (1 - np.cos(pose.yaw)) * px * front
        eye_line = py + 70 * scale
        dy = sin_pitch * self.height - (1 - np.cos(pose.pitch)) * eye_line * front
        cos, sin = np.cos(pose.roll), np.sin(pose.roll)
        px, py = px + dx, py + dy
        dx = dx + (cos - 1) * px - sin * py + pose.shift[0] * scale
        dy = dy + sin * px + (cos - 1) * py + pose.shift[1] * scale
        return self.follows * dx, self.follows * dy - (1 - self.follows) * pose.breath * scale

    def _cells(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        half = (_STEP - 1) / 2
        return (x - half) / _STEP, (y - half) / _STEP

    def _sources(self, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
        """For each cell of the result, the point of the portrait that moved there, by fixed-point iteration."""
        import cv2

        dx, dy = self.displacement(pose)
        field = np.dstack([dx, dy]).astype(np.float32)
        x, y = self.x - dx, self.y - dy
        for _ in range(14):
            columns, rows = (part.astype(np.float32) for part in self._cells(x, y))
            moved = cv2.remap(field, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            x, y = (x + self.x - moved[..., 0]) / 2, (y + self.y - moved[..., 1]) / 2
        return x.astype(np.float32), y.astype(np.float32)

    def _behind(self, pose: Pose) -> np.ndarray:
        """The wall and the body without the head. Only breathing moves them."""
        import cv2

        size, scale = len(self.portrait.image), self.portrait.scale
        rows = np.arange(size, dtype=np.float32)
        fade = np.clip((rows / scale - 140) / 60, 0, 1)
        shift = pose.breath * scale * fade * fade * (3 - 2 * fade)
        x, y = np.meshgrid(rows, (rows + shift).astype(np.float32))
        return cv2.remap(self.portrait.behind, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)

    def _light(self, pose: Pose) -> np.ndarray:
        """Change in brightness of each cell as its normal turns under a fixed lamp, as a factor."""
        nx, ny, nz = np.moveaxis(self.normals, -1, 0)
        turned = np.stack(
            [nx + np.sin(pose.yaw) * nz, ny + np.sin(pose.pitch) * nz, nz - np.sin(pose.yaw) * nx], axis=-1
        )
        gain = 1 + _RELIGHT * ((turned - self.normals) @ _LIGHT)
        return (1 + self.follows * (gain - 1)).astype(np.float32)

    def _expression(self, pose: Pose, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Move mouth, jaw and brows with small smooth bumps in the coordinates of the portrait."""
        points, scale = self.portrait.landmarks, self.portrait.scale

        def bump(centre: np.ndarray, width: float, height: float) -> np.ndarray:
            return np.exp(-(((x - centre[0]) / (width * scale)) ** 2 + ((y - centre[1]) / (height * scale)) ** 2) / 2)

        lower, chin = points[17, :2], points[152, :2]
        dy = pose.jaw * scale * np.maximum(bump(lower, 14, 7), 0.8 * bump(chin, 18, 10))
        for brow in (105, 334):
            dy = dy - pose.brows * scale * bump(points[brow, :2], 12, 6)
        dx = np.zeros_like(x)
        for corner, side in ((61, 1), (291, -1)):
            weight = pose.smile * scale * bump(points[corner, :2], 9, 8)
            dx, dy = dx + side * 1.6 * weight, dy + 1.1 * weight
        return (x - dx).astype(np.float32), (y - dy).astype(np.float32)

    def _texture(self, closure: float) -> np.ndarray:
        """The portrait with its eyes closed by `closure`."""
        if closure not in self.textures:
            image = self.portrait.image
            for eye, brow in (("left_eye", "left_brow"), ("right_eye", "right_brow")):
                image = self._close(image, eye, brow, closure) if closure else image
            self.textures[closure] = image
        return self.textures[closure]

    def _close(self, image: np.ndarray, eye: str, brow: str, closure: float) -> np.ndarray:
        """Pull the skin between brow and upper lid down over the eye, with the lashes."""
        import cv2

        points, regions, scale = self.portrait.landmarks, self.portrait.topology.regions, self.portrait.scale
        loop = points[regions[eye], :2]
        loop = np.roll(loop, -int(loop[:, 0].argmin()), axis=0)
        far = int(loop[:, 0].argmax())
        chains = loop[: far + 1], np.concatenate([loop[far:], loop[:1]])[::-1]
        upper, lower = sorted(chains, key=lambda chain: chain[:, 1].mean())
        columns = np.arange(len(image), dtype=np.float32)
        # The lashes are a quarter wider than the eye of the mesh.
        middle = loop[:, 0].mean()
        top, bottom = (
            np.interp(columns, middle + 1.25 * (chain[:, 0] - middle), chain[:, 1]) for chain in (upper, lower)
        )
        open_ = bottom - top
        raised = bottom - 0.3 * closure * open_
        lid = top + closure * (raised + 0.4 * scale - top) * (open_ > 0)
        # The lashes lie above the mesh's lid line. They move down unstretched; the skin above them stretches.
        lashes = np.minimum(2.4 * scale, open_)
        lowered = lashes * (1 - 0.5 * closure)
        start = top - 0.9 * (top - points[regions[brow], 1].mean())
        rows = columns[:, None]
        skin_part = (rows - start) / np.maximum(lid - lowered - start, 1e-3)
        lash_part = (rows - lid) / np.maximum(lowered, 1e-3)
        drawn = np.where(skin_part < 1, start + skin_part * (top - lashes - start), top + lash_part * lashes)
        source = np.where(rows > start, np.minimum(drawn, rows), rows).astype(np.float32)
        cheek = bottom + 2 * open_
        below = cheek + (rows - cheek) * (cheek - bottom) / np.maximum(cheek - raised, 1e-3)
        below = np.where((rows > raised) & (rows < cheek), below, rows).astype(np.float32)
        x = np.broadcast_to(columns, source.shape).astype(np.float32)
        upper_skin, rest = (
            cv2.remap(image, x, part, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
            for part in (source, below)
        )
        cover = np.clip((lid - rows) / scale + 0.5, 0, 1) * (open_ > 0)
        return np.rint(rest + cover[..., None] * (upper_skin - rest)).clip(0, 255).astype(np.uint8)
