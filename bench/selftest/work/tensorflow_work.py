"""An MLP's training step in TensorFlow, as a graph, and STEPWATCH_EXTRA small matrix products more."""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # which is not here and not used: it spares a second of Keras 3's import

import tensorflow as tf

EXTRA = int(os.environ.get("STEPWATCH_EXTRA", "0"))
BATCH = 512


def make_step():  # type: ignore[no-untyped-def]
    tf.random.set_seed(0)
    w1, w2 = (tf.Variable(tf.random.normal(shape, stddev=0.05)) for shape in ((784, 128), (128, 10)))
    x, y = tf.random.uniform((BATCH, 784)), tf.random.uniform((BATCH,), 0, 10, tf.int32)
    unit = tf.eye(64)

    @tf.function(autograph=False)
    def step():  # type: ignore[no-untyped-def]
        with tf.GradientTape() as tape:
            logits = tf.nn.relu(x @ w1) @ w2
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
        gradients = zip((w1, w2), tape.gradient(loss, (w1, w2)), strict=True)
        updates = [variable.assign_sub(0.01 * gradient) for variable, gradient in gradients]
        with tf.control_dependencies(updates):  # after the step, not on the other thread beside it
            more = tf.identity(unit)
        for _ in range(EXTRA):
            more = more @ unit
        return loss, more

    return step
