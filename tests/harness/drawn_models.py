"""Models that are drawn, and what a test asks of their pictures."""

from typing import Any

import numpy as np

import graphnn as gn
from graphnn.viz import Picture, render
from graphnn.viz.clusters import Cluster
from graphnn.viz.scene import Scene, SceneEdge, SceneNode


class Conv(gn.nn.Module):
    def __init__(self, channels: int, filters: int) -> None:
        self.kernel = gn.parameter(np.ones((filters, channels, 5, 5), np.float32))
        self.bias = gn.parameter(np.zeros(filters, np.float32))

    def forward(self, x: Any) -> gn.Node:
        return gn.conv(x, self.kernel, self.bias)


class LeNet(gn.nn.Module):
    def __init__(self) -> None:
        self.conv1, self.conv2 = Conv(1, 20), Conv(20, 50)
        self.dense1, self.dense2 = gn.nn.Dense(800, 500), gn.nn.Dense(500, 10)

    def forward(self, x: Any) -> gn.Node:
        x = gn.max_pool(gn.relu(self.conv1(x)), 2)
        x = gn.max_pool(gn.relu(self.conv2(x)), 2)
        return self.dense2(gn.relu(self.dense1(gn.flatten(x, 1))))


class Block(gn.nn.Module):
    def __init__(self, features: int, activation: Any = gn.tanh) -> None:
        self.up, self.down = gn.nn.Dense(features, 16), gn.nn.Dense(16, features)
        self.activation = activation

    def forward(self, x: Any) -> gn.Node:
        return x + self.down(self.activation(self.up(x)))


class Residual(gn.nn.Module):
    def __init__(self, *blocks: Block) -> None:
        self.stem, self.head = gn.nn.Dense(3, 8), gn.nn.Dense(8, 2)
        self.blocks = list(blocks)

    def forward(self, x: Any) -> gn.Node:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def residual(count: int) -> Residual:
    return Residual(*(Block(8) for _ in range(count)))


def with_gradient(model: gn.nn.Module, inputs: tuple[Any, ...]) -> gn.Graph:
    x = gn.input("x", inputs)
    loss = gn.sum(model(x)).named("loss")
    return gn.Graph((x,), (loss, *gn.grad(loss, model.parameters())))


def picture_of(thing: Any, **options: Any) -> Picture:
    made = render(thing, **options)
    assert isinstance(made, Picture)
    return made


def labels(scene: Scene) -> list[str]:
    return [node.label for node in scene.nodes]


def frames(cluster: Cluster) -> list[str]:
    return [cluster.title, *(title for each in cluster.inside for title in frames(each))]


def scene_of(count: int, edges: list[tuple[int, int]]) -> Scene:
    nodes = tuple(SceneNode(str(number), "", "operation", "forward") for number in range(count))
    return Scene("", nodes, tuple(SceneEdge(*edge, "data") for edge in edges))


def is_in_order(scene: Scene) -> bool:
    return all(edge.source < edge.target for edge in scene.edges)
