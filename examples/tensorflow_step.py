"""A tf.function as a step: the loss that it returns is what Stepwatch waits for."""

import tensorflow as tf

BATCH = 64


def make_step():
    tf.random.set_seed(0)
    w1, b1 = tf.Variable(tf.random.normal((784, 128), stddev=0.05)), tf.Variable(tf.zeros(128))
    w2, b2 = tf.Variable(tf.random.normal((128, 10), stddev=0.12)), tf.Variable(tf.zeros(10))
    x = tf.random.uniform((BATCH, 784))
    y = tf.random.uniform((BATCH,), 0, 10, tf.int32)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            logits = tf.nn.relu(x @ w1 + b1) @ w2 + b2
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
        for variable, gradient in zip((w1, b1, w2, b2), tape.gradient(loss, (w1, b1, w2, b2)), strict=True):
            variable.assign_sub(0.01 * gradient)
        return loss

    return step
